import qcodec.torch
import torch

model = torch.nn.Linear(256, 256)
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)

state = qcodec.torch.load("state.qckpt", map_location="cpu")
model.load_state_dict(state["model"])
optimizer.load_state_dict(state["optimizer"])
assert state["step"] == 20
