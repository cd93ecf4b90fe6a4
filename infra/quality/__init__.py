"""The offline lab of quality: replay of routing policies, training of the local pre-classifier, their figures."""
