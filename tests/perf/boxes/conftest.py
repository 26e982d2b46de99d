"""A verifier that follows a script, a picture, the settings."""

from box_verifier import config, picture, verifier  # noqa: F401 fixtures
