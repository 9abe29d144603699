"""What the package measures of itself: `python -m benchmarks NAME [--json]`. See README.md."""
