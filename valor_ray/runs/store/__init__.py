"""Runs at a URL: an object store holds what a run goes on from, a folder of each machine what is worked on."""
