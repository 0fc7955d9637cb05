/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One source for QEMU 7.2 and everything newer: names that changed.
 * Include after "qemu/osdep.h".
 */
#ifndef RDU_COMPAT_H
#define RDU_COMPAT_H

#define RDU_QEMU_AT_LEAST(major, minor) \
	(QEMU_VERSION_MAJOR > (major) || \
	 (QEMU_VERSION_MAJOR == (major) && QEMU_VERSION_MINOR >= (minor)))

#include "qemu/log.h"
#include "qemu/main-loop.h"
#include "qemu/module.h"
#include "qemu/error-report.h"
#include "qemu/rcu.h"
#include "qemu/timer.h"
#include "qapi/error.h"
#include "qapi/visitor.h"
#include "exec/cpu-common.h"
#include "hw/boards.h"
#if __has_include("system/address-spaces.h")
#include "system/address-spaces.h"
#else
#include "exec/address-spaces.h"
#endif
#include "hw/pci/pci.h"
#if __has_include("hw/pci/pci_device.h")
#include "hw/pci/pci_device.h"
#endif
#include "hw/pci/msix.h"
#include "hw/pci/pcie.h"
#include "hw/pci/pcie_aer.h"
#if __has_include("hw/core/qdev-properties.h")
#include "hw/core/qdev-properties.h"
#else
#include "hw/qdev-properties.h"
#endif
#include "migration/vmstate.h"
#if __has_include("system/hostmem.h")
#include "system/hostmem.h"
#include "system/runstate.h"
#include "system/system.h"
#else
#include "sysemu/hostmem.h"
#include "sysemu/runstate.h"
#include "sysemu/sysemu.h"
#endif

/* 10.1 made class data and interface lists const. */
#if RDU_QEMU_AT_LEAST(10, 1)
#define RDU_CLASS_DATA const void
#define RDU_INTERFACES const InterfaceInfo
#else
#define RDU_CLASS_DATA void
#define RDU_INTERFACES InterfaceInfo
#endif

/* 10.0 made property arrays const and dropped their end marks. */
#if RDU_QEMU_AT_LEAST(10, 0)
#define RDU_PROPERTIES const Property
#define RDU_PROPERTIES_END
#else
#define RDU_PROPERTIES Property
#define RDU_PROPERTIES_END DEFINE_PROP_END_OF_LIST(),
#endif

/* 9.1 gave reset phases the type of the reset. */
#if RDU_QEMU_AT_LEAST(9, 1)
#define RDU_RESET_ARGS Object *obj, ResetType type G_GNUC_UNUSED
#else
#define RDU_RESET_ARGS Object *obj
#endif

/* 9.2 tells a wake-up from suspend to RAM. */
#if RDU_QEMU_AT_LEAST(9, 2)
#define RDU_RESET_IS_WAKEUP (type == RESET_TYPE_WAKEUP)
#else
#define RDU_RESET_IS_WAKEUP false
#endif

/* 9.0 renamed the big lock. */
#if !RDU_QEMU_AT_LEAST(9, 0)
#define bql_locked() qemu_mutex_iothread_locked()
#endif

#endif
