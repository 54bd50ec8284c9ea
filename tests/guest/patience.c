// A stand-in for systemd's watchdog: records what a service reports, and whether the limit would have passed.
//
// Inputs are a socket's path and a limit in milliseconds. At SIGTERM it prints how often the watchdog was fed, and whether it
// would have killed the service. It never does.
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <poll.h>
#include <unistd.h>

static volatile sig_atomic_t over;

static void end(int signal) {
	(void)signal;
	over = 1;
}

static long now_ms(void) {
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int main(int count, char **args) {
	if (count != 3) return 2;
	signal(SIGTERM, end);
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	strncpy(at.sun_path, args[1], sizeof at.sun_path - 1);
	int socket_fd = socket(AF_UNIX, SOCK_DGRAM, 0);
	if (socket_fd < 0 || bind(socket_fd, (struct sockaddr *)&at, sizeof at) < 0) return 1;
	long limit = atol(args[2]), last = 0, fed = 0, bites = 0;
	while (!over) {
		struct pollfd ready = {.fd = socket_fd, .events = POLLIN};
		if (poll(&ready, 1, 100) == 1) {
			char text[256] = "";
			ssize_t bytes = recv(socket_fd, text, sizeof text - 1, 0);
			if (bytes > 0 && (strstr(text, "WATCHDOG=1") || strstr(text, "READY=1"))) {
				last = now_ms();
				fed += 1;
			}
			if (bytes > 0 && strstr(text, "STOPPING=1")) last = 0;
		}
		// It bites once for each time that it was let starve.
		if (last && now_ms() - last > limit) {
			bites += 1;
			last = 0;
		}
	}
	printf("fed %ld times, bit %ld times\n", fed, bites);
	return 0;
}
