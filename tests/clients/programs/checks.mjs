// What every program here shares: its checks, and how it says what became of them (see checks.py).

const checks = new Map();

export const PLOT =
  "import matplotlib.pyplot as plt\nplt.plot([1, 4, 9])\nplt.title('Squares')\nplt.show()";
export const WRITE = "open('/mnt/data/total.csv', 'w').write('a,b\\n1,2\\n')";

export function check(name, work) {
  checks.set(name.replaceAll(" ", "_"), work);
}

// A message that makes the offline model run `source` as it is.
export function code(source) {
  return `Run this:\n\`\`\`python\n${source}\n\`\`\``;
}

export async function main() {
  const outcomes = {};
  for (const [name, work] of checks) {
    try {
      await work();
      outcomes[name] = null;
    } catch (error) {
      outcomes[name] = String(error?.stack ?? error);
    }
  }
  process.stdout.write(JSON.stringify(outcomes));
}
