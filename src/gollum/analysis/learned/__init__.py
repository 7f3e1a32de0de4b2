"""What a fitted model has learned: pure functions of features, predictions and outcomes."""
