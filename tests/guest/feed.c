// Sends JPEG files to a v4l2loopback camera, picture by picture.
//
// Inputs are a node, a size, a rate, and the files. They are written to the node in turn, from the beginning again at the end,
// until the process is killed.
#include <fcntl.h>
#include <linux/videodev2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

enum { FILES_MAX = 64, BYTES_MAX = 1 << 20 };

static int failed(const char *what) {
	perror(what);
	return 1;
}

int main(int count, char **args) {
	static char *pictures[FILES_MAX];
	static size_t sizes[FILES_MAX];
	int files = count - 5;
	if (files < 1 || files > FILES_MAX) {
		fprintf(stderr, "feed NODE WIDTH HEIGHT FPS FILE...   (at most %d files)\n", FILES_MAX);
		return 2;
	}
	for (int i = 0; i < files; i++) {
		FILE *file = fopen(args[5 + i], "rb");
		if (!file || !(pictures[i] = malloc(BYTES_MAX))) return failed(args[5 + i]);
		sizes[i] = fread(pictures[i], 1, BYTES_MAX, file);
		fclose(file);
	}
	int node = open(args[1], O_WRONLY);
	if (node < 0) return failed(args[1]);
	struct v4l2_format format = {.type = V4L2_BUF_TYPE_VIDEO_OUTPUT};
	format.fmt.pix.width = atoi(args[2]);
	format.fmt.pix.height = atoi(args[3]);
	format.fmt.pix.pixelformat = V4L2_PIX_FMT_MJPEG;
	format.fmt.pix.field = V4L2_FIELD_NONE;
	format.fmt.pix.colorspace = V4L2_COLORSPACE_JPEG;
	format.fmt.pix.sizeimage = format.fmt.pix.width * format.fmt.pix.height * 2;
	if (ioctl(node, VIDIOC_S_FMT, &format) < 0) return failed("VIDIOC_S_FMT");
	double fps = atof(args[4]);
	struct v4l2_streamparm rate = {.type = V4L2_BUF_TYPE_VIDEO_OUTPUT};
	rate.parm.output.timeperframe.numerator = 1000;
	rate.parm.output.timeperframe.denominator = (unsigned)(fps * 1000);
	if (ioctl(node, VIDIOC_S_PARM, &rate) < 0) return failed("VIDIOC_S_PARM");
	struct timespec due;
	clock_gettime(CLOCK_MONOTONIC, &due);
	for (int i = 0;; i = (i + 1) % files) {
		if (write(node, pictures[i], sizes[i]) < 0) return failed("write");
		due.tv_nsec += (long)(1e9 / fps);
		due.tv_sec += due.tv_nsec / 1000000000;
		due.tv_nsec %= 1000000000;
		clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, NULL);
	}
}
