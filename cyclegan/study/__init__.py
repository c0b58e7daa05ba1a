"""Crowd judgements of realism: a study is built and frozen, played in a browser, kept, and counted.

    protocol.py     rules and presets       format.py  THE study folder       sequences.py  trials of every session
    make.py         one call from checkpoints and a data set to a study; worker.py runs it in a process of its own
    build.py        pictures rendered and made alike
    blinding.py     the self-test that only the pictures tell real from fake: findings.py, independence.py,
                    blinding_http.py
    store/          sessions and votes in a database
    session.py      one participant's way through a study: admission.py, votes.py (validation), state.py, refusals.py,
                    statements.py
    server.py       that over HTTP: requests.py, limits.py; page/ plays it in the browser
    shelf.py        the studies of an app
    simulate.py     synthetic participants through that server
    statistics/     estimates and intervals    report/  figures, text, plots     amt.py  AMT_Real_vs_Fake's CSV

No gradio, and torch only in what `make.py` calls: a study can be played on the smallest machine.
"""
