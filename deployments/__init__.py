"""Ray Serve around the steps: one deployment a file, `app.py` binds them, `serving.py` runs them on this machine."""
