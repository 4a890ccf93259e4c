"""Workspaces that clients own: their files, their idle deadlines, the boxes behind them."""
