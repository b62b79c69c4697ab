"""What a torch model does to q and c values and to gradients, beside what its architecture predicts."""
