"""A consent and questions, for tests of studies that have them."""

from cyclegan.study.consent import Consent
from cyclegan.study.questions import Question

CONSENT = Consent(
    "# Pictures of streets\n\nAsk **Ada** at ada@example.org, or see https://example.org/study.\n\n"
    "- You can stop at any time.\n- <script>document.title = 'changed'</script>\n",
    version="1.2", ethics="EK-2026-07", translations={"ko": "# 거리 사진\n\n언제든지 그만둘 수 있습니다.\n"},
)  # fmt: skip
KOREAN_SHA256 = CONSENT.hashes["ko"]
QUESTIONS = (
    Question("age", "before", "number", "How old are you?", least=18, most=120, required=True,
             translations={"ko": {"text": "나이가 어떻게 되세요?"}}),
    Question("edits", "before", "choice", "Do you edit pictures?", ("Never", "Sometimes", "Often"), required=True,
             translations={"ko": {"text": "사진을 편집하시나요?", "options": ["전혀", "가끔", "자주"]}}),
    Question("hours", "before", "number", "Hours a day at a screen?", most=24),
    Question("screen", "before", "choice", "What screen do you use?", ("Phone", "Computer")),
    Question("how", "after", "text", "How did you decide?"),
)  # fmt: skip
