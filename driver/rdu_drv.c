// SPDX-License-Identifier: GPL-2.0-only
/*
 * The driver's front: probe and remove, open and close, the table of ioctls.
 */
#include <linux/cred.h>
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/slab.h>
#include <linux/stringify.h>
#include <linux/wait_bit.h>
#include <linux/workqueue.h>

#include <drm/drm_accel.h>
#include <drm/drm_drv.h>
#include <drm/drm_file.h>
#include <drm/drm_gem.h>
#include <drm/drm_ioctl.h>

#include "rdu_ctx.h"
#include "rdu_gem.h"
#include "rdu_submit.h"
#include "rdu_prog.h"
#include "rdu_reset.h"
#include "rdu_vm.h"

/*
 * 1.0: first.
 * 1.1: limits per user, EDQUOT, DRM_RDU_QUERY_USER.
 * 1.2: DRM_RDU_QUERY_CHIP tells the times of off-chip memory, and AGCUs' limits.
 * 1.3: a run's epoch: what a program keeps on the tiles from run to run.
 * 1.4: DRM_RDU_QUERY_CHIP tells the configuration planes.
 */
#define RDU_DRIVER_MAJOR 1
#define RDU_DRIVER_MINOR 4

static int rdu_open(struct drm_device *drm, struct drm_file *file)
{
	struct rdu_file *rfile;

	rfile = kzalloc(sizeof(*rfile), GFP_KERNEL_ACCOUNT);
	if (!rfile)
		return -ENOMEM;
	rfile->rdev = to_rdu_device(drm);
	rfile->drm_file = file;
	rfile->user = rdu_user_get(rfile->rdev, current_uid());
	if (!rfile->user) {
		kfree(rfile);
		return -ENOMEM;
	}
	xa_init_flags(&rfile->vms, XA_FLAGS_ALLOC1);
	xa_init_flags(&rfile->ctxs, XA_FLAGS_ALLOC1);
	xa_init_flags(&rfile->progs, XA_FLAGS_ALLOC1);
	spin_lock_init(&rfile->busy_lock);
	file->driver_priv = rfile;
	return 0;
}

static void rdu_postclose(struct drm_device *drm, struct drm_file *file)
{
	struct rdu_file *rfile = file->driver_priv;
	struct rdu_prog *prog;
	struct rdu_ctx *ctx;
	struct rdu_vm *vm;
	unsigned long id;

	xa_for_each(&rfile->ctxs, id, ctx)
		rdu_ctx_close(ctx);
	xa_for_each(&rfile->progs, id, prog)
		rdu_prog_put(prog);
	xa_for_each(&rfile->vms, id, vm)
		rdu_vm_put(vm);
	xa_destroy(&rfile->ctxs);
	xa_destroy(&rfile->progs);
	xa_destroy(&rfile->vms);
	rdu_user_put(rfile->user);
	kfree(rfile);
}

static const struct drm_ioctl_desc rdu_ioctls[] = {
	DRM_IOCTL_DEF_DRV(RDU_DEV_QUERY, rdu_ioctl_dev_query, 0),
	DRM_IOCTL_DEF_DRV(RDU_VM_CREATE, rdu_ioctl_vm_create, 0),
	DRM_IOCTL_DEF_DRV(RDU_VM_DESTROY, rdu_ioctl_vm_destroy, 0),
	DRM_IOCTL_DEF_DRV(RDU_VM_BIND, rdu_ioctl_vm_bind, 0),
	DRM_IOCTL_DEF_DRV(RDU_BO_CREATE, rdu_ioctl_bo_create, 0),
	DRM_IOCTL_DEF_DRV(RDU_BO_CREATE_USERPTR, rdu_ioctl_bo_create_userptr, 0),
	DRM_IOCTL_DEF_DRV(RDU_BO_INFO, rdu_ioctl_bo_info, 0),
	DRM_IOCTL_DEF_DRV(RDU_CTX_CREATE, rdu_ioctl_ctx_create, 0),
	DRM_IOCTL_DEF_DRV(RDU_CTX_DESTROY, rdu_ioctl_ctx_destroy, 0),
	DRM_IOCTL_DEF_DRV(RDU_CTX_GET_STATE, rdu_ioctl_ctx_get_state, 0),
	DRM_IOCTL_DEF_DRV(RDU_PROG_LOAD, rdu_ioctl_prog_load, 0),
	DRM_IOCTL_DEF_DRV(RDU_PROG_UNLOAD, rdu_ioctl_prog_unload, 0),
	DRM_IOCTL_DEF_DRV(RDU_SUBMIT, rdu_ioctl_submit, 0),
	DRM_IOCTL_DEF_DRV(RDU_PERF_OPEN, rdu_ioctl_perf_open, 0),
};

/*
 * The DRM core lets files of an accel node make the calls of display clients;
 * these follow the master that such a file does not have, a NULL pointer.
 * Refused as on a render node.
 */
static bool rdu_needs_master(unsigned int cmd)
{
	return _IOC_NR(cmd) == _IOC_NR(DRM_IOCTL_GET_UNIQUE) ||
	       _IOC_NR(cmd) == _IOC_NR(DRM_IOCTL_GET_MAGIC);
}

static long rdu_ioctl(struct file *filp, unsigned int cmd, unsigned long arg)
{
	return rdu_needs_master(cmd) ? -EACCES : drm_ioctl(filp, cmd, arg);
}

#ifdef CONFIG_COMPAT
static long rdu_compat_ioctl(struct file *filp, unsigned int cmd, unsigned long arg)
{
	return rdu_needs_master(cmd) ? -EACCES : drm_compat_ioctl(filp, cmd, arg);
}
#endif

/* DRM_ACCEL_FOPS but for the ioctls. */
static const struct file_operations rdu_fops = {
	.owner = THIS_MODULE,
	.open = accel_open,
	.release = drm_release,
	.unlocked_ioctl = rdu_ioctl,
#ifdef CONFIG_COMPAT
	.compat_ioctl = rdu_compat_ioctl,
#endif
	.poll = drm_poll,
	.read = drm_read,
	.llseek = noop_llseek,
	.mmap = drm_gem_mmap,
	.fop_flags = FOP_UNSIGNED_OFFSET,
	.show_fdinfo = drm_show_fdinfo,
};

static const struct drm_driver rdu_driver = {
	.driver_features = DRIVER_COMPUTE_ACCEL | DRIVER_GEM | DRIVER_SYNCOBJ |
			   DRIVER_SYNCOBJ_TIMELINE | RDU_DRIVER_GEM_GPUVA,
	.name = DRM_RDU_DRIVER_NAME,
	.desc = "reconfigurable dataflow unit",
#ifdef RDU_HAVE_DRIVER_DATE
	.date = "2026",
#endif
	.major = RDU_DRIVER_MAJOR,
	.minor = RDU_DRIVER_MINOR,
	.open = rdu_open,
	.postclose = rdu_postclose,
	.show_fdinfo = rdu_show_fdinfo,
	.gem_prime_import = rdu_gem_import,
	.ioctls = rdu_ioctls,
	.num_ioctls = ARRAY_SIZE(rdu_ioctls),
	.fops = &rdu_fops,
};

static int rdu_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	struct rdu_device *rdev;
	int ret;

	rdev = devm_drm_dev_alloc(&pdev->dev, &rdu_driver, struct rdu_device, drm);
	if (IS_ERR(rdev))
		return PTR_ERR(rdev);
	pci_set_drvdata(pdev, rdev);

	ret = rdu_device_init(rdev);
	if (ret)
		return ret;
	ret = rdu_hwmon_init(rdev);
	if (ret)
		goto err_fini_device;
	rdu_debugfs_init(rdev);
	ret = drm_dev_register(&rdev->drm, 0);
	if (ret)
		goto err_fini_device;
	rdu_pm_init(rdev);

	drm_info(&rdev->drm, "%.16s, %u tiles, %llu MiB, serial %.16s\n", rdev->chip.name,
		 rdev->num_tiles, rdev->vram.size >> 20, rdev->serial);
	return 0;

err_fini_device:
	rdu_device_fini(rdev);
	return ret;
}

static void rdu_remove(struct pci_dev *pdev)
{
	struct rdu_device *rdev = pci_get_drvdata(pdev);

	rdu_pm_fini(rdev);
	rdu_error_abandon(rdev); /* readers of what unplug waits for wait for it */
	drm_dev_unplug(&rdev->drm);
	rdu_device_fini(rdev);
}

static const struct pci_device_id rdu_pci_ids[] = {
	{ PCI_DEVICE(RDU_PCI_VENDOR, RDU_PCI_DEVICE) },
	{ }
};
MODULE_DEVICE_TABLE(pci, rdu_pci_ids);

static struct pci_driver rdu_pci_driver = {
	.name = DRM_RDU_DRIVER_NAME,
	.id_table = rdu_pci_ids,
	.probe = rdu_probe,
	.remove = rdu_remove,
	.err_handler = &rdu_err_handlers,
	.dev_groups = rdu_limit_groups,
	.driver.pm = pm_ptr(&rdu_pm_ops),
};

static struct workqueue_struct *rdu_cleanup_wq;
static atomic_t rdu_cleanup_pending;

void rdu_cleanup_get(void)
{
	atomic_inc(&rdu_cleanup_pending);
}

void rdu_cleanup_queue(struct work_struct *work)
{
	queue_work(rdu_cleanup_wq, work);
}

void rdu_cleanup_done(void)
{
	if (atomic_dec_and_test(&rdu_cleanup_pending))
		wake_up_var(&rdu_cleanup_pending);
}

static int __init rdu_init(void)
{
	int ret;

	rdu_cleanup_wq = alloc_workqueue("rdu-cleanup", WQ_UNBOUND, 0);
	if (!rdu_cleanup_wq)
		return -ENOMEM;
	ret = pci_register_driver(&rdu_pci_driver);
	if (ret)
		destroy_workqueue(rdu_cleanup_wq);
	return ret;
}

static void __exit rdu_exit(void)
{
	pci_unregister_driver(&rdu_pci_driver);
	/* Jobs that wait for others' fences hold their contexts until then. */
	wait_var_event(&rdu_cleanup_pending, !atomic_read(&rdu_cleanup_pending));
	destroy_workqueue(rdu_cleanup_wq);
}

module_init(rdu_init);
module_exit(rdu_exit);

MODULE_DESCRIPTION("Reconfigurable dataflow unit");
MODULE_AUTHOR("rdu authors");
MODULE_VERSION(__stringify(RDU_DRIVER_MAJOR) "." __stringify(RDU_DRIVER_MINOR));
MODULE_LICENSE("GPL");
MODULE_INFO(import_ns, "DMA_BUF");
