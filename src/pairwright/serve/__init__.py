"""Hand a model over: the bundle, a folder that holds an adapted classifier and everything that is needed to use it."""
