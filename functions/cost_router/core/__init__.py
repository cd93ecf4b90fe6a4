"""The rules: pure Python, standard library only. Time, randomness and every outside effect come in through `ports`."""
