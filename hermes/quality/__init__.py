"""Quality: what a person should know of a dataset before a network is trained on it.

`measure` reads every canonical volume once; `judge` holds the measurements against anatomy, against
the dataset itself and against what is published, and picks the scans to show; the page that shows
all datasets of a study side by side is `hermes.report.quality`.
"""
