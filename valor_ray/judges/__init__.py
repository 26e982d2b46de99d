"""The judge: client of an OpenAI-compatible endpoint, and the offline judge as a child process."""
