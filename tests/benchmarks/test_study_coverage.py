"""The fast mode of the simulation of intervals: one cell, few studies."""

from benchmarks.study_coverage import Setting, left_out, some_studies, summary


def test_the_rules_bring_the_coverage_back_where_spammers_take_part():
    setting = Setting("all", 25, 0.05, spammers=0.12)
    rows = {row["interval"]: row["coverage"] for row in summary(setting, some_studies(setting, 0, 50, 0))}
    assert rows["clustered"] > 0.85 and rows["crossed"] > 0.8 and rows["clustered, without rules"] < 0.6
    out = left_out(setting, 30)
    assert out["spammers"] > 0.8 and out["honest"] < 0.01
