"""Token ids to numbers: the contract and the engines behind it."""
