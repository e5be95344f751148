"""Benchmarks: ratios measured side by side in one run. Never asserted, for absolute times are the machine's."""
