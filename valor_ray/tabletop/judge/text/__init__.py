"""The offline judge's reading of text: question, plan and program, by explicit checks; it knows no answer."""
