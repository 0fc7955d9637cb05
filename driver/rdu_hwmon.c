// SPDX-License-Identifier: GPL-2.0-only
/*
 * Sensors: temp1 and power1, each with a label.
 */
#include <linux/hwmon.h>

#include "rdu_device.h"

#if IS_REACHABLE(CONFIG_HWMON)

static umode_t rdu_hwmon_is_visible(const void *data, enum hwmon_sensor_types type, u32 attr,
				    int channel)
{
	return 0444;
}

static int rdu_hwmon_read(struct device *dev, enum hwmon_sensor_types type, u32 attr,
			  int channel, long *value)
{
	struct rdu_device *rdev = dev_get_drvdata(dev);
	int ret, idx;

	ret = rdu_card_enter(rdev, &idx);
	if (ret)
		return ret;
	if (type == hwmon_temp && attr == hwmon_temp_input)
		*value = (s32)rdu_read(rdev, RDU_REG_TEMP);
	else if (type == hwmon_power && attr == hwmon_power_input)
		*value = rdu_read(rdev, RDU_REG_POWER) * 1000L; /* microwatts */
	else
		ret = -EOPNOTSUPP;
	rdu_card_exit(rdev, idx);
	return ret;
}

static int rdu_hwmon_read_string(struct device *dev, enum hwmon_sensor_types type, u32 attr,
				 int channel, const char **text)
{
	*text = type == hwmon_temp ? "chip" : "card";
	return 0;
}

static const struct hwmon_ops rdu_hwmon_ops = {
	.is_visible = rdu_hwmon_is_visible,
	.read = rdu_hwmon_read,
	.read_string = rdu_hwmon_read_string,
};

static const struct hwmon_channel_info * const rdu_hwmon_channels[] = {
	HWMON_CHANNEL_INFO(temp, HWMON_T_INPUT | HWMON_T_LABEL),
	HWMON_CHANNEL_INFO(power, HWMON_P_INPUT | HWMON_P_LABEL),
	NULL
};

static const struct hwmon_chip_info rdu_hwmon_chip = {
	.ops = &rdu_hwmon_ops,
	.info = rdu_hwmon_channels,
};

int rdu_hwmon_init(struct rdu_device *rdev)
{
	struct device *hwmon;

	hwmon = devm_hwmon_device_register_with_info(rdev->drm.dev, "rdu", rdev,
						     &rdu_hwmon_chip, NULL);
	return PTR_ERR_OR_ZERO(hwmon);
}

#else

int rdu_hwmon_init(struct rdu_device *rdev)
{
	return 0;
}

#endif
