"""Commands that measure: eval, report, bench."""
