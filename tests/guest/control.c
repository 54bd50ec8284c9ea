// Control: sets a control of a video node by its name, as its driver calls it.
//
// Inputs are a node, a name and a value. The node is opened for as long as it takes. Exit code 1: there is no such control, or
// it cannot be set.
#include <fcntl.h>
#include <linux/videodev2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

int main(int count, char **args) {
	if (count != 4) {
		fprintf(stderr, "control NODE NAME VALUE\n");
		return 2;
	}
	int node = open(args[1], O_RDWR);
	if (node < 0) {
		perror(args[1]);
		return 1;
	}
	struct v4l2_queryctrl query = {.id = V4L2_CTRL_FLAG_NEXT_CTRL};
	while (ioctl(node, VIDIOC_QUERYCTRL, &query) == 0) {
		if (strcmp((char *)query.name, args[2]) == 0) {
			struct v4l2_control control = {.id = query.id, .value = atoi(args[3])};
			if (ioctl(node, VIDIOC_S_CTRL, &control) == 0) return 0;
			perror(args[2]);
			return 1;
		}
		query.id |= V4L2_CTRL_FLAG_NEXT_CTRL;
	}
	fprintf(stderr, "%s has no control called %s\n", args[1], args[2]);
	return 1;
}
