"""The rule-based oracle of the scene tests: reads questions by rules, answers them from the listing in the request."""
