# Opens TensorBoard's HParams tab in a headless Chromium, prints what it shows, and takes pictures.
# Arguments: log folder, folder for pictures and the profile, the browser.
import base64, json, os, re, subprocess, sys, time
logs, out, browser = sys.argv[1:4]
server = subprocess.Popen(
    [sys.executable, "-m", "tensorboard.main", "--logdir", logs, "--port", "0", "--host", "127.0.0.1"],
    stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
for line in server.stderr:
    address = re.search(r"http://127\.0\.0\.1:\d+", line)
    if address:
        url = address.group(0)
        break
# The browser is spoken to through its debugging pipe: messages of JSON that end with a zero byte.
ours_in, theirs_out = os.pipe()
theirs_in, ours_out = os.pipe()
def ends():
    a, b = os.dup(theirs_in), os.dup(theirs_out)
    os.dup2(a, 3); os.dup2(b, 4)
    os.set_inheritable(3, True); os.set_inheritable(4, True)
process = subprocess.Popen(
    [browser, "--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe",
     "--user-data-dir=" + out + "/profile", "--window-size=1500,1000"],
    close_fds=False, preexec_fn=ends, stderr=subprocess.DEVNULL)
os.close(theirs_in); os.close(theirs_out)
buffer, number = b"", 0
def ask(method, params=None, session=None):
    global buffer, number
    number += 1
    message = {"id": number, "method": method, "params": params or {}}
    if session:
        message["sessionId"] = session
    os.write(ours_out, json.dumps(message).encode() + b"\0")
    while True:
        while b"\0" not in buffer:
            part = os.read(ours_in, 1 << 16)
            if not part:
                raise SystemExit("the browser has gone")
            buffer += part
        text, buffer = buffer.split(b"\0", 1)
        answer = json.loads(text)
        if answer.get("id") == number:
            if "error" in answer:
                raise SystemExit(method + ": " + json.dumps(answer["error"]))
            return answer["result"]
try:
    target = ask("Target.createTarget", {"url": url + "/#hparams"})["targetId"]
    session = ask("Target.attachToTarget", {"targetId": target, "flatten": True})["sessionId"]
    ask("Emulation.setDeviceMetricsOverride", {"width": 1500, "height": 1000, "deviceScaleFactor": 1, "mobile": False}, session)
    # Everything on the page, through the shadow roots of its elements.
    WALK = """const all = []; const walk = n => { for (const c of n.querySelectorAll('*')) {
        all.push(c); if (c.shadowRoot) walk(c.shadowRoot); } }; walk(document);
        const seen = c => { const r = c.getBoundingClientRect(); return r.width > 0 && r.height > 0; };"""
    def run(code):
        expression = "(() => {" + WALK + code + "})()"
        result = ask("Runtime.evaluate", {"expression": expression, "returnByValue": True}, session)
        return result["result"].get("value")
    def until(code):
        for attempt in range(120):
            value = run(code)
            if value:
                return value
            time.sleep(0.5)
        return value
    def picture(name):
        data = ask("Page.captureScreenshot", {"format": "png"}, session)["data"]
        with open(out + "/" + name + ".png", "wb") as file:
            file.write(base64.b64decode(data))
    cells = until("""const t = all.filter(c => seen(c) && c.children.length == 0 && !c.shadowRoot).map(c => (c.textContent || '').trim())
        .filter(t => t); return t.some(t => t.startsWith('000-')) ? t : null;""")
    picture("table")
    def tab(name):
        return run("""const t = all.find(c => seen(c) && c.tagName.endsWith('TAB') && c.textContent.trim().toLowerCase() == '%s');
            if (!t) return false; t.click(); return true;""" % name)
    found = {"cells": cells, "tabs": []}
    for name, view in [("parallel coordinates view", "parallel-coordinates"), ("scatter plot matrix view", "scatter")]:
        clicked = tab(name)
        time.sleep(3)
        marks = until("""const n = all.filter(c => seen(c) && c.ownerSVGElement && ['path', 'circle', 'line'].includes(c.tagName)).length; return n;""")
        picture(view)
        found["tabs"].append([view, clicked, marks])
    print(json.dumps(found))
finally:
    for child in (process, server):
        child.kill()
        child.wait()
