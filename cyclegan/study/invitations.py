"""Invitations: signed links that let one person each take part in a study whose protocol asks for them.

An invitation is ID.SIGNATURE. It needs no list: the signature proves that the study's owner made it, and the database
lets each id begin one session, which its browser can continue.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets

from cyclegan.study.format import Study
from cyclegan.study.store import Store

PREFIX = "invited-"
"""Beginning of the names of invited participants; their id follows."""
MOST = 10_000


def invitations(study: Study, store: Store, count: int) -> list[str]:
    """Return new invitations, 1 to MOST."""
    key = _key(study, store)
    return [f"{each}.{_signature(key, study, each)}" for each in (secrets.token_hex(6) for _ in range(count))]


def participant_of(study: Study, store: Store, invitation: object) -> str | None:
    """Return the name of the participant who is invited; None if it isn't an invitation to this study."""
    if not isinstance(invitation, str) or len(invitation) > 100 or not invitation.isascii():
        return None
    each, _, signature = invitation.partition(".")
    right = hmac.compare_digest(signature, _signature(_key(study, store), study, each))
    return PREFIX + each if right else None


def _key(study: Study, store: Store) -> str:
    """Return the study's secret, so that invitations hold wherever it is played; without one, the database's."""
    return study.draw_key or store.setting("invitation_key")


def _signature(key: str, study: Study, each: str) -> str:
    return hmac.new(key.encode(), f"invitation\n{study.study_id}\n{each}".encode(), hashlib.sha256).hexdigest()[:32]
