"""What `benchmarks/inpaint.py` is made of: masks by seed, measures, peers, contact sheets."""
