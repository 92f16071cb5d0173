"""One module a noun of the contract."""
