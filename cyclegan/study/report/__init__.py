"""A study's report: who counted, and the figures with their intervals; as JSON, Markdown, tables and plots.

    judging.py     votes → what each answer means, and whether it counts
    figures.py     judged votes → figures with intervals
    asked.py       consent, answers to the owner's questions, and the table of sessions
    planned.py     when results are given; participants and pictures that are needed
    markdown.py    figures → sentences and tables
    plots.py       figures → plots, and the sheet of pictures that fooled most and least
    files.py       all of these as files
"""

from cyclegan.study.report.asked import to_session_table
from cyclegan.study.report.figures import FORMAT_VERSION, contrasts_of, make_report
from cyclegan.study.report.files import FORMATS, csv_of, write_report, write_table
from cyclegan.study.report.judging import judge, to_table
from cyclegan.study.report.markdown import escape, to_markdown
from cyclegan.study.report.planned import plan_of
from cyclegan.study.report.plots import contact_sheet

__all__ = [
    "FORMATS", "FORMAT_VERSION", "contact_sheet", "contrasts_of", "csv_of", "escape", "judge", "make_report", "plan_of",
    "to_markdown", "to_session_table", "to_table", "write_report", "write_table",
]  # fmt: skip
