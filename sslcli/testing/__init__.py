"""For the author of a plugin: pytest fixtures, checks of what a plugin offers, and the small things both are made of.

`sslcli.testing.fixtures` is a pytest plugin, found by itself wherever sslcli is installed; `sslcli.testing.checks` is
what `sslcli plugins check` runs. Nothing here imports torch before it is asked to.
"""
