"""What runs on a node: stage recipes, the workspace protocol, the bundle runner, trainers and evaluators."""
