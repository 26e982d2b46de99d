"""Scene tests: what a program must answer in made-up scenes whose answers a judge has given."""
