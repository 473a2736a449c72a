"""Many answers: methods to choose by, fronts over budgets, the k best, how firm a choice is."""
