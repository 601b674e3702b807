"""Learning and serving: training writes a model folder, the predictor and the API read it."""
