"""Conformance suites and fakes for authors of stores and providers."""
