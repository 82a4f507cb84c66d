import torch

torch.manual_seed(0)
model = torch.nn.Linear(256, 256)
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)


def step():
    loss = (model(torch.randn(32, 256)) - 1).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


for _ in range(20):
    loss = step()

import qcodec.torch

qcodec.torch.save({"model": model, "optimizer": optimizer, "step": 20}, "state.qckpt")
