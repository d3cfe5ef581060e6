"""The losses of self-distillation: DINO on CLS (arXiv 2104.14294), iBOT on masked patches (arXiv 2111.07832), KoLeo
(arXiv 2304.07193, section 4), targets centred by Sinkhorn-Knopp (arXiv 2006.09882)."""

import torch
import torch.nn as nn
import torch.nn.functional as F

STUDENT_TEMPERATURE, TEACHER_TEMPERATURE = 0.1, 0.04


class Head(nn.Module):
    """A projection of tokens on the unit sphere, and its cosines with the prototypes.

    Its output is centred and scaled over the batch before it goes to the sphere. Without that all tokens began in nearly
    one direction, the targets were soft, and CLS drifted to the uniform answer within 400 steps.
    """

    def __init__(self, dim, prototypes, hidden=384, bottleneck=96):
        super().__init__()
        self.mlp = nn.Sequential(
            nn.Linear(dim, hidden), nn.GELU(), nn.Linear(hidden, hidden), nn.GELU(), nn.Linear(hidden, bottleneck)
        )
        self.spread = nn.BatchNorm1d(bottleneck, affine=False, track_running_stats=False)
        self.prototypes = nn.Parameter(torch.empty(prototypes, bottleneck))
        for module in self.mlp:
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)
        nn.init.normal_(self.prototypes)

    def forward(self, tokens):
        return F.linear(F.normalize(self.spread(self.mlp(tokens)), dim=-1), F.normalize(self.prototypes, dim=-1))


@torch.no_grad()
def sinkhorn(logits, rounds=3):
    """Assignment of rows to prototypes such that every prototype gets as much: `[rows, prototypes]`, rows sum to 1."""
    q = torch.exp((logits.float() - logits.max()) / TEACHER_TEMPERATURE)
    for _ in range(rounds):
        q = q / q.sum(0, keepdim=True).clamp_min(1e-12)
        q = q / q.sum(1, keepdim=True)
    return q


def cross_entropy(student, target):
    """Mean over rows of the cross-entropy of `target` and the student's cosines."""
    return -(target * F.log_softmax(student.float() / STUDENT_TEMPERATURE, -1)).sum(-1).mean()


def koleo(cls):
    """Spreads the embeddings of a batch: minus the logarithm of the distance to the nearest neighbour."""
    x = F.normalize(cls.float(), dim=-1)
    cosine = (x @ x.T).detach().fill_diagonal_(-2)
    nearest = cosine.argmax(1)
    return -torch.log((x - x[nearest]).norm(dim=1) + 1e-6).mean()
