"""What the learner sees: plain text, the terminal, the notebook's panel, JupyterLab. It decides nothing."""
