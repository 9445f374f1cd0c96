"""Pinboard: a small board of pins, with a web page, an HTTP API and a database."""

__version__ = "1.0.0"
