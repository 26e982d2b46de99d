"""Reports: numbers (report.json) and a page (report.html) from a run folder."""
