"""The reports of `valor score` and `valor train`: numbers (report.json) and a page (report.html) from a run folder."""
