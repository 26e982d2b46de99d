"""One list of queries from several sets, without what evaluation measures with: `python -m jobs.gather_queries`."""
