# %% [markdown] lang="en"
# # Dropout
#
# Dropout [1] sets a random part of a layer's units to zero at each training step. No unit can rely on another one being
# there, so the network is held back from learning single images by heart. At test time all units work.
#
# Here $p$ is the probability of *keeping* a unit. The first editions of the course meant the share that is dropped;
# `FullyConnectedNet` says so where it could be mistaken, and `dropout_keep_ratio` has one meaning only.
#
# [1] Hinton et al., "Improving neural networks by preventing co-adaptation of feature detectors", 2012,
# https://arxiv.org/abs/1207.0580

# %% [markdown] lang="zh"
# # Dropout
#
# Dropout [1] 在每个训练步随机把一层的部分单元置零。任何单元都不能指望另一个单元在场，所以网络难以把个别图像背下来。测试时所有单元都工作。
#
# 这里的 $p$ 是*保留*一个单元的概率。课程最早的几版指的是被丢弃的比例；在可能误会的地方 `FullyConnectedNet` 会说明，而
# `dropout_keep_ratio` 只有一种含义。
#
# [1] Hinton et al., "Improving neural networks by preventing co-adaptation of feature detectors", 2012,
# https://arxiv.org/abs/1207.0580

# %% tags=["common"]

# %% [markdown] lang="en"
# ## Forward
#
# In training each entry is kept with probability $p$ and divided by $p$: $out = x \cdot m / p$ with a mask $m$ of zeros and
# ones. The mean of the output is then that of the input, and nothing is left to do at test time, where $out = x$.

# %% [markdown] lang="zh"
# ## 前向
#
# 训练时每个元素以概率 $p$ 保留，并除以 $p$：$out = x \cdot m / p$，其中 $m$ 是由 0 和 1 组成的掩码。这样输出的均值与输入相同，
# 测试时就什么都不用做：$out = x$。

# %%
np.random.seed(231)
x = 10 + np.random.randn(500, 500)

for p in (0.25, 0.4, 0.7):
    trained, _ = dropout_forward(x, {"mode": "train", "p": p})
    tested, _ = dropout_forward(x, {"mode": "test", "p": p})
    zeros = float((trained == 0).mean())
    print(f"p = {p}: mean of the input {x.mean():.4f}, in training {trained.mean():.4f}, at test time {tested.mean():.4f}; "
          f"zeros {zeros:.4f}")
    report("mean", abs(trained.mean() - x.mean()), 0.1)
    report("share of zeros", abs(zeros - (1 - p)), 0.01)
    assert np.array_equal(tested, x)

# %% [markdown] lang="en"
# ## Backward
#
# With a `seed` the mask is the same at each call, which a numerical gradient needs.

# %% [markdown] lang="zh"
# ## 反向
#
# 给定 `seed` 时每次调用的掩码相同，数值梯度需要这一点。

# %% [markdown] lang="en" tags=["answer"]
# The gradient passes where the unit was kept, through the same division: $dx = dout \cdot m / p$.

# %% [markdown] lang="zh" tags=["answer"]
# 单元被保留的地方，梯度通过，并经过同样的除法：$dx = dout \cdot m / p$。

# %%
np.random.seed(231)
inputs, upstream = {"x": 10 + np.random.randn(10, 10)}, np.random.randn(10, 10)
parameters = {"mode": "train", "p": 0.2, "seed": 123}
check_layer(lambda x: dropout_forward(x, parameters), dropout_backward, inputs, upstream, bound=1e-9)

# %% [markdown] lang="en"
# ### Inline question 1
#
# What happens if the masked values are not divided by $p$?

# %% [markdown] lang="zh"
# ### 思考题 1
#
# 如果掩码之后不除以 $p$，会怎样？

# %% [markdown] lang="en" tags=["answer"]
# **Answer.** The expected output in training is then $p\,x$ instead of $x$: $E[x\,m] = p\,x$. The weights that follow learn on
# inputs that are $p$ times as large as those that they get at test time, and their scores come out of a distribution that
# they never saw. One would have to multiply by $p$ at test time. The cell below shows both means.

# %% [markdown] lang="zh" tags=["answer"]
# **答。** 训练时输出的期望就成了 $p\,x$ 而不是 $x$：$E[x\,m] = p\,x$。后面的权重在训练中看到的输入只有测试时的 $p$ 倍，测试时的得分
# 便来自它们从未见过的分布。那样就必须在测试时乘以 $p$。下面的单元给出这两个均值。

# %% tags=["answer"]
p = 0.4
mask = np.random.rand(*x.shape) < p
print(f"input {x.mean():.3f}; masked {(x * mask).mean():.3f}; masked and divided by p {(x * mask / p).mean():.3f}")

# %% [markdown] lang="en"
# ## Networks with dropout
#
# `FullyConnectedNet` drops units after each ReLU where `dropout` is not 1. With a `seed` its gradients can be checked.

# %% [markdown] lang="zh"
# ## 带 dropout 的网络
#
# 当 `dropout` 不等于 1 时，`FullyConnectedNet` 在每个 ReLU 之后丢弃单元。给定 `seed` 就可以检查它的梯度。

# %%
np.random.seed(231)
samples, features, classes = 2, 15, 10
X, y = np.random.randn(samples, features), np.random.randint(classes, size=samples)

for keep in (1, 0.75, 0.5):
    print(f"dropout {keep}")
    model = FullyConnectedNet([20, 30], input_dim=features, num_classes=classes, weight_scale=5e-2, dtype=np.float64,
                              dropout=keep, seed=123)
    loss, _ = model.loss(X, y)
    print(f"first loss {float(loss)}")
    report("loss", abs(loss - np.log(classes)), 0.1)
    check_network(model, X, y, bound=1e-5, W2=5e-5)

# %% [markdown] lang="en"
# ## An experiment in regularization
#
# Two networks with one hidden layer learn a few hundred images, one without dropout and one that keeps a quarter of its units.
# The plot shows their accuracies on those images and on the validation images.

# %% [markdown] lang="zh"
# ## 正则化实验
#
# 两个单隐藏层网络学习几百张图像，一个不用 dropout，另一个只保留四分之一的单元。图中是它们在这些图像和验证图像上的准确率。

# %%
few = first_images(choose(cifar=500, digits=200))
runs = {}
for keep in (1, 0.25):
    np.random.seed(231)
    model = FullyConnectedNet([500], input_dim=INPUT_DIM, weight_scale=choose(cifar=1e-2, digits=2e-1), dropout=keep)
    runs[keep] = Solver(
        model,
        few,
        update_rule="adam",
        optim_config={"learning_rate": choose(cifar=5e-4, digits=5e-3)},
        num_epochs=25,
        batch_size=100,
        print_every=10_000,
    )
    print(f"--- dropout {keep}")
    runs[keep].train()

# %%
figure, panels = plt.subplots(1, 2, figsize=(11, 4))
for keep, run in runs.items():
    panels[0].plot(run.train_acc_history, "o-", label=f"dropout {keep}")
    panels[1].plot(run.val_acc_history, "o-", label=f"dropout {keep}")
for panel, title in zip(panels, ["Training accuracy", "Validation accuracy"], strict=True):
    panel.set(title=title, xlabel="epoch")
    panel.legend(loc="lower right")
plt.show()

gaps = {}
for keep, run in runs.items():
    gaps[keep] = float(np.mean(run.train_acc_history[-5:]) - np.mean(run.val_acc_history[-5:]))
    print(f"dropout {keep}: the training accuracy is above the validation accuracy by {gaps[keep]:.3f} (last five epochs)")
assert gaps[0.25] < gaps[1]

# %% [markdown] lang="en"
# ### Inline question 2
#
# What do the two curves say about dropout as a regularizer?

# %% [markdown] lang="zh"
# ### 思考题 2
#
# 这两条曲线说明 dropout 作为正则化起了什么作用？

# %% [markdown] lang="en" tags=["answer"]
# **Answer.** The network without dropout is at 100% on its training images after a few epochs, and from then on
# nothing is left that would make it better on others. With dropout the training accuracy rises more slowly, since another
# part of the network is seen at each step, while the validation accuracy is as high or higher: the gap between the two,
# which the cell prints, is smaller. That is what a regularizer is for.

# %% [markdown] lang="zh" tags=["answer"]
# **答。** 不用 dropout 的网络几个 epoch 之后在训练图像上就达到 100%，此后再没有什么能让它在别的图像上变好。用 dropout 时，每一步
# 看到的是网络的另一部分，训练准确率上升得更慢，而验证准确率相同或更高：单元打印出的两者之差更小。这正是正则化的目的。

# %% [markdown] lang="en"
# ### Inline question 3
#
# The hidden layers are made narrower, because the network is too large. How should $p$ be changed?

# %% [markdown] lang="zh"
# ### 思考题 3
#
# 网络太大，于是把隐藏层变窄。$p$ 应当怎样改变？

# %% [markdown] lang="en" tags=["answer"]
# **Answer.** A layer of $n$ units keeps $pn$ of them on average. Fewer units overfit less, and a narrow layer with the old
# $p$ may be left with too few to carry the signal: so $p$ should rise. Keeping $pn$ constant is a rule of thumb, until $p$
# is 1.

# %% [markdown] lang="zh" tags=["answer"]
# **答。** $n$ 个单元的层平均保留 $pn$ 个。单元少了，过拟合也少了；而窄的层若仍用原来的 $p$，剩下的单元可能不足以传递信号：所以 $p$
# 应当增大。经验做法是让 $pn$ 保持不变，直到 $p$ 为 1。
