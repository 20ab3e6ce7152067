# %% [markdown] lang="en"
# # Convolutional networks
#
# An affine layer knows nothing of images: to it, neighbouring pixels are as far apart as any. A convolutional layer looks at small
# windows instead, with the same weights at each place. This notebook checks convolution and pooling, puts them together
# into a network of three layers, trains it and looks at its filters, and ends with the two normalizations for
# images.

# %% [markdown] lang="zh"
# # 卷积网络
#
# 仿射层对图像一无所知：对它来说，相邻的像素与任意两个像素一样远。卷积层看的则是小窗口，每个位置使用同样的权重。这个 notebook 检查
# 卷积和池化，把它们组成一个三层网络，训练它并观察它的滤波器，最后是用于图像的两种归一化。

# %% tags=["common"]

# %%
import time

import daseCV_c
from daseCV.vis_utils import visualize_grid

# %% [markdown] lang="en"
# ## Convolution: forward
#
# $$out[n, f, i, j] = b[f] + \sum_{c, u, v} x[n, c, i s + u - p, j s + v - p]\; w[f, c, u, v]$$
#
# with stride $s$ and padding $p$; pixels outside of the image are 0. For evenly spaced numbers the answer is known.

# %% [markdown] lang="zh"
# ## 卷积：前向
#
# $$out[n, f, i, j] = b[f] + \sum_{c, u, v} x[n, c, i s + u - p, j s + v - p]\; w[f, c, u, v]$$
#
# 其中 $s$ 是步长，$p$ 是填充；图像之外的像素为 0。数值等间距排列时，答案是已知的。

# %%
x, w, b = ramp(-0.1, 0.5, 2, 3, 4, 4), ramp(-0.2, 0.3, 3, 3, 4, 4), ramp(-0.1, 0.2, 3)
out, _ = conv_forward_naive(x, w, b, {"stride": 2, "pad": 1})
print(f"images {x.shape}, filters {w.shape}, output {out.shape}")
known = np.array([
    [[[-0.08759809, -0.10987781], [-0.18387192, -0.21092160]],
     [[0.21027089, 0.21661097], [0.22847626, 0.23004637]],
     [[0.50813986, 0.54309974], [0.64082444, 0.67101435]]],
    [[[-0.98053589, -1.03143541], [-1.19128892, -1.24695841]],
     [[0.69108355, 0.66880383], [0.59480972, 0.56776003]],
     [[2.36270298, 2.36904306], [2.38090835, 2.38247847]]],
])
report("conv_forward", relative_error(out, known), 1e-7)

# %% [markdown] lang="en"
# ### What a filter sees
#
# Two pictures, drawn here, and two filters made by hand: one that adds up the colours to a grey picture, and one that compares
# the row above with the row below, which is large at horizontal edges.

# %% [markdown] lang="zh"
# ### 滤波器看到什么
#
# 这里画出两张图片，用两个手工设计的滤波器：一个把三种颜色合成灰度图，另一个比较上一行与下一行，在水平边缘处数值大。

# %%
side = 128
rows, columns = np.mgrid[0:side, 0:side] / side
evening = np.stack([0.9 - 0.5 * rows, 0.3 + 0.4 * rows, 0.4 + 0.5 * rows])
evening[:, (rows - 0.55) ** 2 + (columns - 0.5) ** 2 < 0.05] = np.array([[1.0], [0.85], [0.2]])
evening[:, rows > 0.7 + 0.03 * np.sin(25 * columns)] = np.array([[0.1], [0.2], [0.45]])
rings = np.sin(40 * np.hypot(rows - 0.5, columns - 0.5))
target = np.stack([0.5 + 0.5 * rings, 0.5 - 0.4 * rings, 0.3 + 0.6 * columns])
pictures = 255 * np.stack([evening, target])

w = np.zeros((2, 3, 3, 3))
w[0, :, 1, 1] = 0.3, 0.6, 0.1  # red, green, blue
w[1, 1] = [[1, 2, 1], [0, 0, 0], [-1, -2, -1]]  # of the green
out, _ = conv_forward_naive(pictures, w, np.array([0.0, 128.0]), {"stride": 1, "pad": 1})

figure, panels = plt.subplots(2, 3, figsize=(10, 7), layout="constrained")
for picture, found, line in zip(pictures, out, panels, strict=True):
    line[0].imshow(picture.transpose(1, 2, 0).astype(np.uint8))
    line[1].imshow(found[0], cmap="gray")
    line[2].imshow(found[1], cmap="gray", vmin=-400, vmax=656)
for panel, title in zip(panels[0], ["picture", "grey", "horizontal edges"], strict=True):
    panel.set_title(title)
for panel in panels.flat:
    panel.axis("off")
plt.show()

# %% [markdown] lang="en"
# ## Convolution: backward
#
# Three gradients again, of $x$, $w$ and $b$.

# %% [markdown] lang="zh"
# ## 卷积：反向
#
# 仍是三个梯度，属于 $x$、$w$ 和 $b$。

# %% [markdown] lang="en" tags=["answer"]
# $db$ is a sum over images and places, $dw$ the windows of $x$ weighted by $dout$, and $dx$ gets from each window what it gave.

# %% [markdown] lang="zh" tags=["answer"]
# $db$ 是对图像和位置求和，$dw$ 是 $x$ 的各窗口以 $dout$ 加权之和，而 $dx$ 从每个窗口收回它给出的份额。

# %%
np.random.seed(231)
inputs = {"x": np.random.randn(4, 3, 5, 5), "w": np.random.randn(2, 3, 3, 3), "b": np.random.randn(2)}
conv_param = {"stride": 1, "pad": 1}
check_layer(lambda x, w, b: conv_forward_naive(x, w, b, conv_param), conv_backward_naive, inputs,
            np.random.randn(4, 2, 5, 5), bound=1e-7)

# %% [markdown] lang="en"
# ## Max pooling: forward and backward
#
# Each window gives its largest value.

# %% [markdown] lang="zh"
# ## 最大池化：前向与反向
#
# 每个窗口给出其中的最大值。

# %% [markdown] lang="en" tags=["answer"]
# The gradient goes to the place where the largest value was, and nowhere else.

# %% [markdown] lang="zh" tags=["answer"]
# 梯度只流向最大值所在的位置。

# %%
pool_param = {"pool_height": 2, "pool_width": 2, "stride": 2}
x = ramp(-0.3, 0.4, 2, 3, 4, 4)
out, _ = max_pool_forward_naive(x, pool_param)
print(f"images {x.shape}, output {out.shape}")
known = np.array([
    [[[-0.26315789, -0.24842105], [-0.20421053, -0.18947368]],
     [[-0.14526316, -0.13052632], [-0.08631579, -0.07157895]],
     [[-0.02736842, -0.01263158], [0.03157895, 0.04631579]]],
    [[[0.09052632, 0.10526316], [0.14947368, 0.16421053]],
     [[0.20842105, 0.22315789], [0.26736842, 0.28210526]],
     [[0.32631579, 0.34105263], [0.38526316, 0.4]]],
])
report("max_pool_forward", relative_error(out, known), 1e-6)

np.random.seed(231)
inputs = {"x": np.random.randn(3, 2, 8, 8)}
check_layer(lambda x: max_pool_forward_naive(x, pool_param), max_pool_backward_naive, inputs,
            np.random.randn(3, 2, 4, 4), bound=1e-10)

# %% [markdown] lang="en"
# ## Fast layers
#
# In the course the naive layers are loops, and `fast_layers` has others. Those of daseCV are compiled under both names, so the
# times compare the compiled functions with their NumPy twins. The numbers are the same up to rounding. Times are the smallest of three.

# %% [markdown] lang="zh"
# ## 快速的层
#
# 在课程中，naive 的层是循环，`fast_layers` 里另有快速的。daseCV 的两种名称都是编译的，所以下面比较的是编译的函数与它们的 NumPy 版本。
# 除舍入之外，结果相同。时间取三次中最小的。

# %%
def timed(function, *arguments):
    """(result, the smallest time of three)."""
    times = []
    for _ in range(3):
        began = time.perf_counter()
        result = function(*arguments)
        times.append(time.perf_counter() - began)
    return result, min(times)


def compare(name, forward, backward, arguments, upstream):
    found, times = {}, {}
    for backend in dict.fromkeys(["numpy", daseCV_c.get_backend()]):
        with daseCV_c.use_backend(backend):
            (out, cache), first = timed(forward, *arguments)
            gradients, second = timed(backward, upstream, cache)
        gradients = gradients if isinstance(gradients, tuple) else (gradients,)
        found[backend], times[backend] = (out, *gradients), (first, second)
        print(f"{name}, {backend:>8}: forward {1e3 * first:.2f} ms, backward {1e3 * second:.2f} ms")
    *_, last = found
    errors = [relative_error(a, b) for a, b in zip(found["numpy"], found[last], strict=True)]
    report("difference", max(errors), 1e-8)


np.random.seed(231)
x, w, b = np.random.randn(100, 3, 31, 31), np.random.randn(25, 3, 3, 3), np.random.randn(25)
compare("convolution", conv_forward_fast, conv_backward_fast, (x, w, b, {"stride": 2, "pad": 1}),
        np.random.randn(100, 25, 16, 16))
x = np.random.randn(100, 3, 32, 32)
compare("max pooling", max_pool_forward_fast, max_pool_backward_fast, (x, pool_param), np.random.randn(100, 3, 16, 16))

# %% [markdown] lang="en"
# ## Sandwich layers
#
# Convolution, ReLU and pooling often follow each other: `conv_relu_pool_forward`, `conv_relu_forward` and their partners in
# `daseCV/layer_utils.py` are such sandwiches.

# %% [markdown] lang="zh"
# ## 三明治层
#
# 卷积、ReLU 和池化常常接连出现：`daseCV/layer_utils.py` 中的 `conv_relu_pool_forward`、`conv_relu_forward` 和与它们成对的函数
# 就是这样的三明治。

# %%
np.random.seed(231)
inputs = {"x": np.random.randn(2, 3, 16, 16), "w": np.random.randn(3, 3, 3, 3), "b": np.random.randn(3)}
print("conv - ReLU - pool")
check_layer(lambda x, w, b: conv_relu_pool_forward(x, w, b, conv_param, pool_param), conv_relu_pool_backward, inputs,
            np.random.randn(2, 3, 8, 8), bound=1e-6)
inputs["x"] = np.random.randn(2, 3, 8, 8)
print("conv - ReLU")
check_layer(lambda x, w, b: conv_relu_forward(x, w, b, conv_param), conv_relu_backward, inputs,
            np.random.randn(2, 3, 8, 8), bound=1e-6)

# %% [markdown] lang="en"
# ## Three-layer network
#
# `ThreeLayerConvNet` in `daseCV/classifiers/cnn.py` is conv - ReLU - 2x2 max pool - affine - ReLU - affine - softmax.
#
# ### First loss
#
# With small weights the first loss is about $\ln C$ for $C$ classes, and somewhat more with `reg`.

# %% [markdown] lang="zh"
# ## 三层网络
#
# `daseCV/classifiers/cnn.py` 中的 `ThreeLayerConvNet` 是 卷积 - ReLU - 2x2 最大池化 - 仿射 - ReLU - 仿射 - softmax。
#
# ### 初始损失
#
# 权重小时，$C$ 个类别的初始损失约为 $\ln C$，有 `reg` 时略大。

# %%
np.random.seed(231)
model = ThreeLayerConvNet()
X, y = np.random.randn(50, 3, 32, 32), np.random.randint(10, size=50)
losses = []
for model.reg in (0.0, 0.5):
    losses.append(float(model.loss(X, y)[0]))
    print(f"reg {model.reg}: first loss {losses[-1]:.6f}")
report("ln 10", abs(losses[0] - np.log(10)), 0.01)
assert losses[0] < losses[1] < losses[0] + 1

# %% [markdown] lang="en"
# ### Gradients
#
# On small images, in float64, with weights large enough to stay clear of zero. Where a step of the numerical gradient crosses the kink of ReLU, or another pixel becomes the
# largest of its window, an error up to about $10^{-2}$ means nothing.

# %% [markdown] lang="zh"
# ### 梯度
#
# 用小图像和 float64，权重足够大，以免数值太接近零。如果数值梯度的一步跨过了 ReLU 的折点，或者使窗口中另一个像素成为最大，那么大到约 $10^{-2}$ 的误差也没有意义。

# %%
np.random.seed(231)
X, y = np.random.randn(2, 3, 16, 16), np.random.randint(10, size=2)
model = ThreeLayerConvNet((3, 16, 16), num_filters=3, filter_size=3, hidden_dim=7, weight_scale=0.1, dtype=np.float64)
check_network(model, X, y, bound=1e-2)

# %% [markdown] lang="en"
# ### A hundred images by heart
#
# The network should learn a hundred images by heart; the validation accuracy stays behind.

# %% [markdown] lang="zh"
# ### 背下一百张图像
#
# 网络应当能把一百张图像背下来；验证准确率则落在后面。

# %%
def convnet(**options):
    np.random.seed(231)
    return ThreeLayerConvNet(data["X_train"].shape[1:], filter_size=choose(cifar=7, digits=3), **options)


model = convnet(weight_scale=choose(cifar=1e-2, digits=5e-2))
solver = Solver(model, first_images(100), update_rule="adam", optim_config={"learning_rate": 1e-3}, num_epochs=15,
                batch_size=50, print_every=10)
solver.train()
assert max(solver.train_acc_history) > 0.9

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4))
left.plot(solver.loss_history, "o-")
left.set(title="Training loss on a hundred images", xlabel="iteration")
right.plot(solver.train_acc_history, "o-", label="training")
right.plot(solver.val_acc_history, "o-", label="validation")
right.set(title="Accuracy", xlabel="epoch")
right.legend(loc="lower right")
plt.show()

# %% [markdown] lang="en"
# ### Training
#
# On all images: one epoch of CIFAR-10 gives more than 40%, ten epochs of the digits more than 90%.

# %% [markdown] lang="zh"
# ### 训练
#
# 使用全部图像：CIFAR-10 一个 epoch 超过 40%，数字图像十个 epoch 超过 90%。

# %%
model = convnet(weight_scale=choose(cifar=1e-3, digits=5e-2), hidden_dim=choose(cifar=500, digits=100), reg=1e-3)
solver = Solver(model, data, update_rule="adam", optim_config={"learning_rate": 1e-3},
                num_epochs=choose(cifar=1, digits=10), batch_size=50, print_every=choose(cifar=50, digits=50))
solver.train()

test_accuracy = float((model.loss(data["X_test"]).argmax(axis=1) == data["y_test"]).mean())
print(f"validation {solver.best_val_acc:.3f}, test {test_accuracy:.3f}")
assert solver.best_val_acc > choose(cifar=0.4, digits=0.9)

# %% [markdown] lang="en"
# ### Filters
#
# The filters of the first layer as small pictures. On CIFAR-10 edges and blobs of colour appear, on the digits strokes of
# several directions.

# %% [markdown] lang="zh"
# ### 滤波器
#
# 把第一层的滤波器画成小图片。在 CIFAR-10 上出现边缘和色块，在数字图像上出现几个方向的笔画。

# %%
grid = visualize_grid(model.params["W1"].transpose(0, 2, 3, 1))
plt.imshow(grid.astype(np.uint8).squeeze(), cmap="gray")
plt.axis("off")
plt.gcf().set_size_inches(5, 5)
plt.show()

# %% [markdown] lang="en"
# ## Spatial batch normalization
#
# A feature of a convolutional layer is a channel: it should look the same at every place of every image. Spatial batch
# normalization takes mean and variance of each of the $C$ channels over $N$, $H$ and $W$.

# %% [markdown] lang="zh"
# ## 空间批归一化
#
# 卷积层的特征是通道：它在每张图像的每个位置都应当一样。空间批归一化对 $C$ 个通道中的每一个，在 $N$、$H$、$W$ 上求均值和方差。

# %%
np.random.seed(231)
X = 4 * np.random.randn(2, 3, 4, 5) + 10
for gamma, beta in [(np.ones(3), np.zeros(3)), (np.array([3.0, 4.0, 5.0]), np.array([6.0, 7.0, 8.0]))]:
    out, _ = spatial_batchnorm_forward(X, gamma, beta, {"mode": "train"})
    print(f"{X.shape} to {out.shape}: means {out.mean(axis=(0, 2, 3)).round(4)}, deviations {out.std(axis=(0, 2, 3)).round(4)}")
    report("means", np.abs(out.mean(axis=(0, 2, 3)) - beta).max(), 1e-8)
    report("deviations", np.abs(out.std(axis=(0, 2, 3)) - gamma).max(), 1e-5)

bn_param = {"mode": "train"}
for bn_param["mode"] in ["train"] * 50 + ["test"]:
    out, _ = spatial_batchnorm_forward(2.3 * np.random.randn(10, 4, 11, 12) + 13, np.ones(4), np.zeros(4), bn_param)
print(f"at test time: means {out.mean(axis=(0, 2, 3)).round(4)}, deviations {out.std(axis=(0, 2, 3)).round(4)}")
report("means", np.abs(out.mean(axis=(0, 2, 3))).max(), 0.15)

inputs = {"x": 5 * np.random.randn(2, 3, 4, 5) + 12, "gamma": np.random.randn(3), "beta": np.random.randn(3)}
check_layer(lambda x, gamma, beta: spatial_batchnorm_forward(x, gamma, beta, {"mode": "train"}),
            spatial_batchnorm_backward, inputs, np.random.randn(2, 3, 4, 5), bound=1e-6)

# %% [markdown] lang="en"
# ## Group normalization
#
# Layer normalization treats all channels of an image alike, which they are not. Group normalization [1] splits the channels into
# $G$ groups and takes mean and variance of each group of each image. It needs no other images, so small batches do it no
# harm.
#
# [1] Wu and He, "Group Normalization", ECCV 2018, https://arxiv.org/abs/1803.08494

# %% [markdown] lang="zh"
# ## 组归一化
#
# 层归一化把一张图像的所有通道同等对待，而它们并不相同。组归一化 [1] 把通道分成 $G$ 组，对每张图像的每一组求均值和方差。它不需要别的
# 图像，所以小批次对它没有坏处。
#
# [1] Wu and He, "Group Normalization", ECCV 2018, https://arxiv.org/abs/1803.08494

# %%
np.random.seed(231)
N, C, H, W, G = 2, 6, 4, 5, 2
X = 4 * np.random.randn(N, C, H, W) + 10
out, _ = spatial_groupnorm_forward(X, np.ones((1, C, 1, 1)), np.zeros((1, C, 1, 1)), G, {})
groups = out.reshape(N, G, -1)
print(f"groups: means {groups.mean(axis=2).round(6).tolist()}, deviations {groups.std(axis=2).round(6).tolist()}")
report("means", np.abs(groups.mean(axis=2)).max(), 1e-8)
report("deviations", np.abs(groups.std(axis=2) - 1).max(), 1e-5)

inputs = {"x": X, "gamma": np.random.randn(1, C, 1, 1), "beta": np.random.randn(1, C, 1, 1)}
check_layer(lambda x, gamma, beta: spatial_groupnorm_forward(x, gamma, beta, G, {}), spatial_groupnorm_backward, inputs,
            np.random.randn(N, C, H, W), bound=1e-6)
