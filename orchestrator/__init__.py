"""From a grid to experiments, a plan, bundles and submissions; and the command line."""
