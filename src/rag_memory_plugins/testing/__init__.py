"""Conformance suites and fakes for authors of stores and providers, a model server that fails."""
