"""Crowd judgements of realism: a study is built and frozen, played in a browser, kept, and counted.

    plan.py         the study's file format and every session's sequence of trials
    build.py        checkpoints and a data set → a frozen study
    blinding.py     whether anything but the pictures tells real from fake
    store/          sessions and votes in a database
    session.py      one participant's way through a study; what the server may say
    server.py       that over HTTP, and the page that plays it
    simulate.py     synthetic participants through that server
    statistics/     estimates and intervals      report/  figures, text, plots      amt.py  AMT_Real_vs_Fake's CSV

No torch and no gradio: a study can be played on the smallest machine.
"""
