"""One module a command of `litemill`; each has a `register(app)` that adds it."""
