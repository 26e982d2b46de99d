"""Thin adapters over the models: no Ray, one class a model, configured by its section of the settings tree."""
